# ipc-backbone, "Pupil Remote" and "Writing to the Backbone directly", which continues it. Corrections:
# 1. The port comes from the environment, because a test cannot have 50020 for itself.
# 2. The serializer is imported here; the page has it from the snippet before.
# pyright: reportCallIssue=false, reportArgumentType=false
import os
import zmq
ctx = zmq.Context()
# The requester talks to Pupil remote and receives the session unique IPC SUB PORT
requester = ctx.socket(zmq.REQ)
ip = 'localhost' #If you talk to a different machine use its IP.
port = int(os.environ['LABWIRE_PORT']) #The port defaults to 50020 but can be set in the GUI of Pupil Capture.
requester.connect('tcp://%s:%s'%(ip,port))
import msgpack as serializer

# continued from above
from time import time, sleep

requester.send_string('PUB_PORT')
pub_port = requester.recv_string()
publisher = ctx.socket(zmq.PUB)
publisher.connect('tcp://%s:%s'%(ip, pub_port))
sleep(1) # see Async connect in the paragraphs below
notification = {'subject':'calibration.should_start'}
topic = 'notify.' + notification['subject']
payload = serializer.dumps(notification)
publisher.send_string(topic, flags=zmq.SNDMORE)
publisher.send(payload)
