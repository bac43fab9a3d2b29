"""What the file backend costs: lines, frames, and how soon a reader sees them."""
