package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// A program is a running reader.
type program struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Scanner
	began   int64 // no later than the reader's begin, by the history's clock
	own     bool  // it has no replicas, so whatever a server tells it is the primary's answer
}

// startProgram starts a reader over these servers, the primary first.
func (g *group) startProgram(dsns ...string) (p *program, err error) {
	p = &program{command: exec.Command("/proc/self/exe", dsns...), own: len(dsns) == 1}
	p.command.Env = append(os.Environ(), roleVariable+"="+roleReader)
	p.command.Stderr = os.Stderr
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.input, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.output = bufio.NewScanner(output)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	// The first question waits until the reader is ready. The second takes no longer than its two ways.
	for range 2 {
		p.began = g.history.now()
		if err := p.tell("clock"); err != nil {
			return nil, errors.Join(err, p.kill())
		}
		if !p.output.Scan() {
			return nil, errors.Join(errors.New("a reader has ended at its begin"), p.kill())
		}
	}
	elapsed, err := strconv.ParseInt(p.output.Text(), 10, 64)
	p.began -= elapsed
	return p, err
}

func (p *program) tell(line string) error {
	_, err := fmt.Fprintln(p.input, line)
	return err
}

func (p *program) signal(signal syscall.Signal) error { return p.command.Process.Signal(signal) }

func (p *program) kill() error { return errors.Join(p.signal(syscall.SIGKILL), p.command.Wait()) }

// end ends the reader and hands each of its answers to a function, with the begin of the last lookup that
// gave it.
func (p *program) end(each func(found answer, begun int64)) (lookups, hits int, err error) {
	if err := p.input.Close(); err != nil {
		return 0, 0, errors.Join(err, p.kill())
	}
	for p.output.Scan() {
		var found answer
		var begun int64
		line := p.output.Text()
		if strings.HasPrefix(line, "end ") {
			_, err := fmt.Sscanf(line, "end %d %d", &lookups, &hits)
			return lookups, hits, errors.Join(err, p.command.Wait())
		}
		if _, err := fmt.Sscan(line, &found.session, &found.version, &found.recalled, &begun); err != nil {
			return 0, 0, errors.Join(err, p.kill())
		}
		each(found, p.began+begun)
	}
	return 0, 0, errors.Join(errors.New("a reader ended early"), p.kill())
}
