/* Functions that Python calls; everything else stays inside the library. */
#pragma once

#define EXPORT __attribute__((visibility("default")))
