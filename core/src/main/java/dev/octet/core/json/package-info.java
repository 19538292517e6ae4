/**
 * A strict JSON reader for headers, indexes and configurations that come from elsewhere: no dependency, no recursion,
 * and no allocation but for the strings that the caller asks for.
 */
@NullMarked
package dev.octet.core.json;

import org.jspecify.annotations.NullMarked;
