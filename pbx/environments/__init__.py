"""Application environments and the file storage of accounts: files as events, contents as blobs.

:class:`EnvironmentFiles` is what running programs see of programs and prompts,
:class:`EnvironmentCommands` how they are changed; :class:`FileStorage` is the storage of accounts.
"""

from pbx.environments.check import ACCEPTED_SOUND, check_file
from pbx.environments.commands import EnvironmentCommands, Stored
from pbx.environments.files import EnvironmentFiles
from pbx.environments.quota import limits_in_log
from pbx.environments.rights import Right, granted
from pbx.environments.stock import StockFiles
from pbx.environments.storage import FileContent, FileStorage, Position

__all__ = [
    "ACCEPTED_SOUND",
    "EnvironmentCommands",
    "EnvironmentFiles",
    "FileContent",
    "FileStorage",
    "Position",
    "Right",
    "StockFiles",
    "Stored",
    "check_file",
    "granted",
    "limits_in_log",
]
