/* What the library is: checked when it is loaded. */
#include "export.h"

EXPORT int lw_abi(void) { return 2; }

EXPORT const char *lw_sources(void) { return LW_SOURCES; }
