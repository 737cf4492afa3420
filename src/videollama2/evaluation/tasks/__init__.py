"""One benchmark a file; the registry finds them."""
