"""What every method stands on: types, draws, black boxes, curvature."""
