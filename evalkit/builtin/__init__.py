"""What every task file finds without defining it."""
