"""What people read: from results to text. Nothing here decides whether something is wrong."""
