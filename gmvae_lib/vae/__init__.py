"""The Gaussian mixture VAE: model, objective, training, runs."""
