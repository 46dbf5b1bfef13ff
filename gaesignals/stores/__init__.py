"""Stores: three verbs over many keys, and those who speak them."""
