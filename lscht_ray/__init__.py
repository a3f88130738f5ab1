"""Fine-tunes VideoMAE for isolated sign language recognition and finds its hyperparameters on a Ray cluster."""
