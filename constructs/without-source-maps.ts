/**
 * Imported before everything else: reading the source maps of cdktf and its providers takes a fifth of a synthesis, and
 * no message of ours shows them.
 */
process.setSourceMapsEnabled(false);
