"""What a run left behind, and how runs are stored, listed and written up."""
