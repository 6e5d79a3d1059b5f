"""Networks, bundles and the predictor."""
