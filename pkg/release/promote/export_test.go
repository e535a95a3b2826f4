package promote

// Reconnect shortens what tests would wait for.
var Reconnect = &reconnect
