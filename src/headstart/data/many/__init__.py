"""More images than one machine holds: listed into files, cut into parts, read part by part."""

from headstart.data.many.listing import Listed, list_source
from headstart.data.many.needed import needed
from headstart.data.many.parts import Part, Piece, patient_pieces
from headstart.places import Place

__all__ = ["Listed", "Part", "Piece", "Place", "list_source", "needed", "patient_pieces"]
