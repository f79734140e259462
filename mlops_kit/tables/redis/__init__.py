"""Predictions in Redis or Valkey, one string for each row, for applications that look them up by key.

    eta:current                 the name of the current generation
    eta:<generation>:<key>      a row, as a JSON object
    eta:generations             a hash: generation → what it is, as JSON (see catalog.py)
    eta:lease:<generation>      there while a living process loads that generation

So an application needs no more than a plain client:

    r = redis.Redis(decode_responses=True)
    generation = r.get("eta:current")
    prediction = json.loads(r.get(f"eta:{generation}:{key}"))

The address is redis://[user@]host:port/DATABASE?table=eta, or rediss:// for TLS. It takes the options of
`connection.Options` behind `table`.
"""
