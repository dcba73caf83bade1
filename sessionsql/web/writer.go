package web

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// A writer adds the session's header lines before the header is written.
type writer struct {
	http.ResponseWriter
	visit *visit
}

// WriteHeader implements [http.ResponseWriter]. An informational status, such as 103, is not the last one.
func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.visit.sendHeader(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (w *writer) Write(data []byte) (int, error) {
	w.visit.sendHeader(w.Header())
	return w.ResponseWriter.Write(data)
}

// ReadFrom implements [io.ReaderFrom], so that the kernel can still copy files.
func (w *writer) ReadFrom(source io.Reader) (int64, error) {
	w.visit.sendHeader(w.Header())
	return io.Copy(w.ResponseWriter, source)
}

// Flush implements [http.Flusher].
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (w *writer) FlushError() error {
	w.visit.sendHeader(w.Header())
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements [http.Hijacker]. The handler writes the header itself, so no cookie can be set
// afterwards.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.visit.sendHeader(w.Header())
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap lets [http.ResponseController] set deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
