package sessionsqlgorilla

// States counts the sessions that a Store keeps the state of.
func States(s *Store) (n int) {
	s.states.m.Range(func(any, any) bool { n++; return true })
	return n
}
