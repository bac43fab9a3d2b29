"""Whatever produces pictures or samples: video files, cameras, simulated eyes."""
