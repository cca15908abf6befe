"""Moving an embedded data directory into a schema of PostgreSQL, once, with everything in it.

See `copying` for how it goes and why it may be interrupted at any moment.
"""

from stanchion.store.migrate.copying import Moved, Progress, migrate, undo

__all__ = ["Moved", "Progress", "migrate", "undo"]
