"""What the shipped model is compared with: a recurrent state-space model, a floor and a ceiling."""
