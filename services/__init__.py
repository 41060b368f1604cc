"""The six services. They know each other by topics and HTTP only: none imports another."""
