"""The scenarios, after MLPerf's LoadGen: how requests come, and what is looked at.

https://arxiv.org/abs/1911.02549 describes them.
"""
