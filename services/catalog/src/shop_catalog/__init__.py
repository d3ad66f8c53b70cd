"""What the shop sells: plain CRUD."""
