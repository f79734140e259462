"""The server's description in OpenAPI 3.1, built from the models that it has loaded.

https://spec.openapis.org/oas/v3.1.1.html
"""
