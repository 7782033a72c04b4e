"""The taste similar job: users who chose the same items."""

from __future__ import annotations

from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import TasteSimilarReport
from pinembed.settings.taste import TasteSimilarSettings
from pinembed.table.address import parse_address
from pinembed.taste.similar import similar_users
from pinembed.taste.user_table import UserTable, find_user


def taste_similar(settings: TasteSimilarSettings, *, progress: Progress = SILENT) -> TasteSimilarReport:
    """Find users like one.

    Raises:
        DataError: there is no such store, or no such user in it.
        TableError: a table cannot be read.
    """
    progress.start("users")
    address = parse_address(settings.users)
    users = UserTable(address)
    find_user(users, settings.user)
    found = similar_users(users, settings.user, settings.k)
    progress.finish()
    return TasteSimilarReport(store=str(address), user=settings.user, results=tuple(found))
