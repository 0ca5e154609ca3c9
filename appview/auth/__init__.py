"""Who is asking: signing in with one's own PDS, sessions and developer tokens, tokens of other services.

Never keeps a secret in clear, and never lets one out in a log line or an answer.
"""
