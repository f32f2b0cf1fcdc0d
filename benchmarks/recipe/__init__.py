"""What each part of the default recipe is good for."""
