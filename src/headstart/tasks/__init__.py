"""What is learned, and how it is measured."""

from headstart.tasks.classification import Classification, Data, begin, measures

__all__ = ["Classification", "Data", "begin", "measures"]
