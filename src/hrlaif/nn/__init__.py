"""The torch pieces that reward and policy share: backbone with adapters, chat rendering, generation, losses."""
