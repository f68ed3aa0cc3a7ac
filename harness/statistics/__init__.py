"""What the history means: trends, and which failures are chance. Pure: numbers and nouns in, numbers and nouns out."""
