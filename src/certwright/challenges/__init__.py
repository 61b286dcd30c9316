"""What each challenge asks for."""
