// Placement new without C++'s headers, which cross builds go without.
#pragma once
#include <stddef.h>

inline void* operator new(size_t, void* place) noexcept { return place; }
