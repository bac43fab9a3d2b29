# ipc-backbone, "Pupil Remote" and "Reading from the Backbone", which continues it. Corrections:
# 1. The port comes from the environment, because a test cannot have 50020 for itself.
# 2. SUBSCRIBE takes bytes: today's pyzmq refuses text there.
# 3. print is a function in Python 3.
# pyright: reportCallIssue=false, reportArgumentType=false
import os
import zmq
ctx = zmq.Context()
# The requester talks to Pupil remote and receives the session unique IPC SUB PORT
requester = ctx.socket(zmq.REQ)
ip = 'localhost' #If you talk to a different machine use its IP.
port = int(os.environ['LABWIRE_PORT']) #The port defaults to 50020 but can be set in the GUI of Pupil Capture.
requester.connect('tcp://%s:%s'%(ip,port))
requester.send_string('SUB_PORT')
sub_port = requester.recv_string()

#...continued from above
subscriber = ctx.socket(zmq.SUB)
subscriber.connect('tcp://%s:%s'%(ip,sub_port))
subscriber.set(zmq.SUBSCRIBE, b'notify.') #receive all notification messages
subscriber.set(zmq.SUBSCRIBE, b'logging.error') #receive logging error messages
#subscriber.set(zmq.SUBSCRIBE, '') #receive everything (don't do this)
# you can setup multiple subscriber sockets
# Sockets can be polled or read in different threads.

# we need a serializer
import msgpack as serializer

while True:
    topic,payload = subscriber.recv_multipart()
    message = serializer.loads(payload)
    print(topic,':',message)
