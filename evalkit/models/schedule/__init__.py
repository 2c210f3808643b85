"""The order in which waiting requests are sent, and the endpoint that each one goes to."""
