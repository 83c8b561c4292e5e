"""What a text and the weights tell about activations: scales, outliers, sensitivity."""
