"""The Router table of a new installation (Router reference §9).

Comments say what each line does, since this is the first table an administrator reads.
"""

from __future__ import annotations

from typing import Final

DEFAULT_TABLE: Final = r"""; The first line that fits rewrites an address; then all are tried anew.
; <name@domain> = address   domain = domain   (3d) three digits   * any text   \* a star
<+(7-20d)@*>          = +*@telnum               ; +nnnnn calls -> to telnum
Signal:telnum         = pstn                    ; unknown telnum -> PSTN
Signal:<*@pstn>       = gatewaycaller{*}#pbx    ; start 'gatewaycaller' app
Signal:<7(2d)@*>      = pbx#pbx                 ; 7nn -> function nn of the PBX centre
Signal:<\*(2d)@*>     = service{*}#             ; *nn -> service nn of the caller
Signal:<\*(3-5d)@*>   = voicemail#*@*           ; *nnn -> voice mail of nnn
Signal:<echotest@*>   = echotest#pbx@localhost  ; a call to oneself: hear what you say
<root>                = postmaster
<mailer-daemon>       = postmaster
"""

#: Accounts of the Main Domain that every installation has, with their aliases.
POSTMASTER: Final = "postmaster"
PBX: Final = "pbx"
MAIN_ACCOUNTS: Final[dict[str, tuple[str, ...]]] = {
    POSTMASTER: (),
    PBX: ("200", "conference"),
}
