"""Answers: a message, or several, and the trailers that end a call."""

from jh2.connection import H2Connection

from mlops_kit.modes.online.grpc.http2.call import Call, Headers

HEADERS: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))


def send(h2: H2Connection, call: Call) -> bool:
    """Send what is outgoing as far as the client has room, and the trailers after it. Whether they are sent.

    Raises StreamClosedError.
    """
    if call.outgoing:
        _send_message(h2, call)
    if call.outgoing:
        return False
    call.has_room()
    if call.trailers is None:
        return False
    headers = call.trailers if call.is_begun else [*HEADERS, *call.trailers]
    h2.send_headers(call.stream_id, headers, end_stream=True)
    return True


def _send_message(h2: H2Connection, call: Call) -> None:
    stream_id, size = call.stream_id, len(call.outgoing)
    if not call.is_begun:
        call.is_begun = True
        h2.send_headers(stream_id, HEADERS)
    while call.sent < size:
        room = min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size, size - call.sent)
        if room <= 0:
            return
        h2.send_data(stream_id, call.outgoing[call.sent : call.sent + room])
        call.sent += room
        call.sent_in_all += room
    call.outgoing, call.sent = b"", 0
