"""The bus: hub side (backbone, inlet, RPC broker) and client side (publisher, subscription, actor)."""
