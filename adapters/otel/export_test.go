package sessionsqlotel

// RegisterStats registers Stats that a test makes up.
var RegisterStats = register
