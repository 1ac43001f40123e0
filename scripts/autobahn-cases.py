# Runs the Autobahn test suite's own fuzzing client against the broker; how it maps what Autobahn
# wants to what the broker does is in docs/RFC6455.md. It is a Python 2.7 program, so:
#
#   cargo build
#   python2.7 -m pip install --user autobahntestsuite
#   python2.7 scripts/autobahn-cases.py target/debug/broker reports
#
# `reports` is made: index.html, and each case with its frames. The exit code is 0 if all cases
# pass.

import json
import os
import re
import subprocess
import sys
from collections import Counter

from autobahntestsuite import fuzzing  # first: it chooses the reactor
from autobahntestsuite.case import Case
from twisted.internet import reactor

Protocol = fuzzing.FuzzingClientProtocol
CASES = ['1.*', '2.*', '3.*', '4.*', '5.*', '6.*', '7.*', '10.*']


def start(binary):
    """A broker on a free port, and the address of its WebSockets without pings."""
    env = dict((k, v) for k, v in os.environ.items() if not k.startswith(('BROKER_', 'ANYCABLE_')))
    flags = ['--port', '0', '--max-message-size', '300000']
    broker = subprocess.Popen([binary] + flags, stderr=subprocess.PIPE, env=env)
    for line in iter(broker.stderr.readline, ''):
        url = re.search(r'ws://[0-9.:]+/cable', line)
        if url:
            return broker, url.group() + '?pi=0'
    sys.exit('the broker did not start')


class Adapter(Protocol):
    """An `error` frame stands for the echo of the text that made it, 1003 for that of binary."""

    def onOpen(self):
        Protocol.onOpen(self)
        case = self.runCase
        if any(self.is_binary(event) for event in case.expected[Case.OK]):
            case.expected = {Case.OK: []}
            case.expectedClose = {'closedByMe': False, 'closeCode': [1003], 'requireClean': True}

    @staticmethod
    def is_binary(event):
        return event[0] == 'message' and event[2]

    def onMessage(self, text, binary):
        if text.startswith('{"type":"welcome"'):
            return
        if text.startswith('{"type":"error"'):
            texts = [event[1] for event in self.runCase.expected[Case.OK] if event[0] == 'message']
            heard = sum(event[0] == 'message' for event in self.runCase.received)
            text = (texts + [text] * (heard + 1))[heard]
        Protocol.onMessage(self, text, binary)


def main(binary, reports):
    broker, url = start(binary)
    try:
        fuzzing.FuzzingClientProtocol = Adapter
        server = {'agent': 'broker', 'url': url}
        client = fuzzing.FuzzingClientFactory(
            {'outdir': reports, 'servers': [server], 'cases': CASES, 'exclude-cases': []})
        reactor.run()
    finally:
        broker.terminate()
        code = broker.wait()
    with open(os.path.join(reports, 'index.json')) as index:
        cases = json.load(index)['broker'].values()
    verdicts = Counter((case['behavior'], case['behaviorClose']) for case in cases)
    for (behavior, close), count in sorted(verdicts.items()):
        print '%d %s, closing %s' % (count, behavior, close)
    print '%d of %d cases played; the broker ended with %d' % (
        len(cases), len(client.specCases), code)
    fine = set(verdicts) <= {('OK', 'OK'), ('INFORMATIONAL', 'INFORMATIONAL')}
    sys.exit(0 if fine and len(cases) == len(client.specCases) and code == 0 else 1)


main(*sys.argv[1:])
