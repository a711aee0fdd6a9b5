"""Pictures of your own."""
