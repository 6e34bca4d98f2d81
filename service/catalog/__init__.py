"""Published model versions and their aliases.

A version never changes once published; an alias moves. `name` alone means the alias `stable`. `versions` looks models up,
`publishing` adds versions and moves aliases, `bundles` keeps their files in the blob store and fetches them.
"""

from service.catalog.versions import ALIAS, DEFAULT_ALIAS, REFERENCE, Catalog, PublishedModel, field_errors

__all__ = ["ALIAS", "DEFAULT_ALIAS", "REFERENCE", "Catalog", "PublishedModel", "field_errors"]
