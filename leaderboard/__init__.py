"""The leaderboard: a Streamlit app over the score store. ``launch`` starts it."""
