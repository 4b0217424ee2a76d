"""Many images: workers, results, resuming."""
