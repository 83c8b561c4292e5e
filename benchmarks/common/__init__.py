"""What every benchmark needs: models, environments, result files, tables."""
