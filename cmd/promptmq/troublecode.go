package main

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/cmd/promptmq/client"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// codeOf returns the code of an error that ends the broker or a command.
func codeOf(err error) slog.Attr {
	for _, known := range []struct {
		kind error
		code slog.Attr
	}{
		{admin.ErrNobody, trouble.NoBroker},
		{store.ErrInUse, trouble.DataInUse},
		{store.ErrDamaged, trouble.DatabaseDamaged},
		{store.ErrForeign, trouble.DatabaseForeign},
		{store.ErrNewer, trouble.DatabaseNewer},
		{store.ErrFileSystem, trouble.FileSystemUnfit},
		{store.ErrGone, trouble.FilesGone},
	} {
		if errors.Is(err, known.kind) {
			return known.code
		}
	}
	var refused *client.Refusal
	var network *net.OpError
	switch {
	case errors.As(err, new(*broker.UnfinishedError)):
		return trouble.NotStored
	case errors.As(err, &refused) && refused.Packet == codec.TypeConnack && refused.Reason == codec.ConnectionRateExceeded:
		return trouble.BackOff
	case errors.As(err, &refused):
		return trouble.Of(refused.Reason)
	case errors.As(err, new(*client.MismatchError)):
		return trouble.TLSMismatch
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return trouble.CertificateUntrusted
	case errors.As(err, &network) && network.Op == "listen":
		return trouble.CannotListen
	case errors.As(err, &network) && network.Op == "dial":
		return trouble.BrokerUnreachable
	case errors.Is(err, fs.ErrPermission):
		return trouble.PermissionDenied
	}
	return trouble.Failure
}
