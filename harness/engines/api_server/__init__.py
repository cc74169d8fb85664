"""The engine ``api``: servers that speak the OpenAI protocol."""
