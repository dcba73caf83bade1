package sessionsql

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	bundle "github.com/sessionsql/postgres/sql"
)

func (s *Store) checkPayload(payload string) error {
	reason := ""
	switch {
	case len(payload) > s.options.MaxPayloadBytes:
		reason = "is too large"
	case strings.IndexByte(payload, 0) >= 0:
		reason = "contains a NUL byte"
	case !utf8.ValidString(payload):
		reason = "is not valid UTF-8"
	default:
		return nil
	}
	return &PayloadError{Reason: reason, Size: len(payload), Max: s.options.MaxPayloadBytes}
}

// checkSubject accepts an empty subject, which stands for an anonymous session.
func checkSubject(subject string) error { return checkText("subject", subject, bundle.MaxSubjectBytes) }

func requireSubject(subject string) error {
	if subject == "" {
		return fmt.Errorf("%w: the subject is empty", ErrOptions)
	}
	return checkSubject(subject)
}

func checkLabel(label string) error { return checkText("label", label, bundle.MaxLabelBytes) }

// checkText refuses a text that the column of this name cannot hold. The error does not repeat the text.
func checkText(name, text string, maxBytes int64) error {
	if int64(len(text)) > maxBytes || strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		return fmt.Errorf("%w: a %s must be UTF-8 without NUL, at most %d bytes", ErrOptions, name, maxBytes)
	}
	return nil
}

func checkMaxSessions(maxSessions int32, subject string) error {
	if maxSessions < 0 || maxSessions > 0 && subject == "" {
		return fmt.Errorf("%w: MaxSessions must be positive, and needs a Subject", ErrOptions)
	}
	return nil
}

// maxTimeout is the largest idle timeout and the largest lifetime.
var maxTimeout = time.Duration(bundle.MaxTimeoutSeconds) * time.Second

// checkTimeouts refuses an idle timeout or a lifetime out of its range. A lifetime of 0 means none.
func checkTimeouts(idle, lifetime time.Duration) error {
	switch {
	case idle < time.Millisecond || idle > maxTimeout:
		return fmt.Errorf("%w: idle timeout of %v; it must be between 1ms and 100 years", ErrOptions, idle)
	case lifetime != 0 && (lifetime < time.Millisecond || lifetime > maxTimeout):
		return fmt.Errorf("%w: lifetime of %v; it must be between 1ms and 100 years, or 0 for none",
			ErrOptions, lifetime)
	}
	return nil
}
