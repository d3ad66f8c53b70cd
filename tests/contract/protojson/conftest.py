from tests.contract.protojson.every import every, every_file

__all__ = ["every", "every_file"]
